//! Bounds that are checked before memory is taken.

/// What a frame may cost. The defaults are those of the Python `Limits`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// UTF-8 bytes of a whole frame.
    pub frame_bytes: usize,
    /// Levels of arrays and objects; the frame's own array is level 1.
    pub depth: u32,
    /// Code points of a message id.
    pub id_chars: usize,
    /// Bytes between the quotes of one string, as written.
    pub string_bytes: usize,
    /// Characters of one number, as written.
    pub number_chars: usize,
    /// Members of one array or object.
    pub items: u32,
    /// Violations collected for one payload.
    pub violations: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frame_bytes: 1_048_576,
            depth: 64,
            id_chars: 36,
            string_bytes: 262_144,
            number_chars: 128,
            items: 16_384,
            violations: 100,
        }
    }
}
