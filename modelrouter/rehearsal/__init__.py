"""What a model would do on this box: predicted from its header, or tried with a file of its size.

It runs models through the same app as everybody and judges what came of it. It knows no surface.
"""
