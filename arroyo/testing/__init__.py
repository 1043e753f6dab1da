"""What users need to test their stages without sockets."""
