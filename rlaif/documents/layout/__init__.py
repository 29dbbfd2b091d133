"""Pages of words and rules that have places, read as people see them: columns, tables with their heads, paragraphs."""
