"""What shrinks the tensor at the cut; it is trained or fitted in closed form, and can be quantized."""
