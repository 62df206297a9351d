"""What is answered to one question, as plain data that views print. Pure."""
