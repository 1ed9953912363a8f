"""Reports: plain findings and scores in, text, figures and self-contained pages out.

```
style      colours and the style sheet
glossary   what the scores mean
text       tables for the console
marks      keypoints, lines and circles, exact to a small part of a pixel
drawing    images with keypoints, contact sheets
canvas     what figures are drawn on
figures    curves and bars of a run as PNG
maps       maps of places as PNG
layers     curves and bars by layer as PNG
blocks     HTML that escapes everything
html       the page of a run
folder     which folder may be written to
```

Nothing here knows a step: what is shown comes in as arrays, numbers and words.
"""
