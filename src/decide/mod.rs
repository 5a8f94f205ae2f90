//! L1, the heart: `step` turns an input into records and effects. Pure.
