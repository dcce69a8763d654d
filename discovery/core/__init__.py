"""What all packages use: errors, files, jobs, configs, suites and presets. Imports no jax."""
