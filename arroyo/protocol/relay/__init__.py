"""An operator or publisher: passes results on, and acknowledges where paths end. PURE."""
