"""Drawing room: everything the viewing scripts put on a figure is drawn here, once."""
