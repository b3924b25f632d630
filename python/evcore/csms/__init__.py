"""What a CSMS does with a station's messages: one workflow a file, tables per version, live state in memory."""
