"""Virtual sensors on real wires: their bytes, their faults, and the places where people walk past them."""
