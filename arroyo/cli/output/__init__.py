"""What commands print: drawings, lines of logs, messages, tables again and again."""
