"""Events leave a gateway only after what they speak of is on disk, and stay there until the broker has them."""
