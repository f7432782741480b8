"""What must be there before anything can work.

``checkup`` looks at this machine; ``policies`` writes down what planning and deploying to SageMaker ask of IAM,
for the two roles of a pipeline. Neither changes anything or talks to AWS.
"""
