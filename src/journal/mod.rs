//! L1: what the journal's rows mean. Pure; the bytes are kept by `store`.
