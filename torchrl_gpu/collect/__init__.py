"""Vector steps: acting and stepping."""
