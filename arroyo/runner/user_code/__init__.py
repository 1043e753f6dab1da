"""Users' classes: imported, checked, constructed, called."""
