"""Search in documents: BM25, a sentence encoder and a reranker in one searcher, and how well it finds the evidence."""
