"""Tables: files of rows and columns made ready to train on."""
