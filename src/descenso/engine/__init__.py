"""The one room that talks to JAX: params to leaves, a loss to a compiled loop of steps."""
