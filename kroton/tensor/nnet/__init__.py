"""`kroton.tensor.nnet`: activations, softmax and crossentropies."""

# ruff: noqa: F403 - each module lists its public names
from kroton.tensor.nnet.activations import *
from kroton.tensor.nnet.crossentropy import *
from kroton.tensor.nnet.softmax import *
