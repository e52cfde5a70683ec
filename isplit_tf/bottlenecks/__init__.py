"""What shrinks the tensor at the cut; trained, or fitted in closed form, and quantized."""
