"""What was measured, as typed objects, and their journal on disk."""
