"""The one image for SageMaker and EC2: built from a bundle's requirements, and started as a platform starts it.

``build`` writes a small build context (the packaged Dockerfile, the bundle's requirements and serving code) and
hands it to whichever of docker, finch, podman and buildah is there. ``container`` starts an image with a bundle
mounted read-only, so that ``conformance`` plays the same rules on it as on a plain process. Tools are given
lists of arguments, never a shell line, and names are checked before a tool sees them.

``push`` sends an image to ECR and names it by its digest. No password, index or model goes into an image.
"""
