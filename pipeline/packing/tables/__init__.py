"""Tables as a source of packing: their files, columns, cells and rows."""
