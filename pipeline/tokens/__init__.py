"""What media cost a model: the arithmetic of the released processors, without them."""
