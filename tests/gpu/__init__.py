"""Tests that need CUDA; elsewhere they skip, saying so."""

import pytest
import torch

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
