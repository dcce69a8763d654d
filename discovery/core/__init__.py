"""What every room uses: errors, files, jobs, configs, suites and presets. Imports no jax."""
