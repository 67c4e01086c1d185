"""What is kept between starts."""
