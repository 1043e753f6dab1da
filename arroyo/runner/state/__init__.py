"""What a replica leaves on disk for its next life."""
