"""Reports: plain findings and scores in, text, figures and self-contained pages out.

```
style        colours and the style sheet
text         tables for the console
marks        keypoints, lines and circles, exact to a small part of a pixel
drawing      images with keypoints, contact sheets
canvas       what figures are drawn on
maps         figures of an audit: maps of places
layers       figures of an audit: curves and bars by layer
html         markup that escapes everything
parts        Report and Section: one page and one console text from the same parts
run          what every report of a run holds: metrics, training, how it was made
verdicts     the words for the difference of two arms
comparison   the report of a comparison
```

Nothing here knows a task or a step: what is shown comes in as arrays, numbers and words. What a
report says of keypoints or classes is in `placewise.tasks.NAME.report`.
"""
