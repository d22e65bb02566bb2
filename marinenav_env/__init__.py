"""The world: vessels, vortices, obstacles, sensors."""
