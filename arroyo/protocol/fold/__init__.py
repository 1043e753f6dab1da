"""An operator that makes one output of many inputs. PURE."""
