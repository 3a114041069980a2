/* calibration_text.h - what a model reads to measure the means of its keys and values. */
#ifndef ENGINE_CALIBRATION_TEXT_H
#define ENGINE_CALIBRATION_TEXT_H

/* About 1,000 tokens of mixed text.  A change makes every kept calibration anew. */
extern const char calibration_text[];

#endif
