"""What recorded events answer afterwards: who had which number when. Pure."""
