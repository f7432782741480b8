"""What the user asks for: frozen values, checked where they are born, without behaviour.

``deployment.toml`` becomes a DeploymentSpec (``serde``); planners, the simulator and the stacks read it.
"""
