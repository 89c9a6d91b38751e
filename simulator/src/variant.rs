//! Ways in which runtimes differ that are no regressions: what a release, or a configuration, serves.

/// What a runtime serves beyond containerd 2.1, or short of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// The six lists that are streamed, as containerd 2.4 and CRI-O 1.36 have them.
    StreamedLists,
    /// `runtime` besides the generations that came after it, as no release had it: its own runtimes served nothing else, as with
    /// [`Self::NoV1`] and [`Self::NoV1Alpha2`].
    V1Alpha1,
    /// `runtime.v1alpha2` and nothing newer, as containerd 1.1 to 1.5.
    NoV1,
    /// No `runtime.v1alpha2`, as containerd 2.0.
    NoV1Alpha2,
    /// `GetContainerEvents` ends at once with OK, as in CRI-O where pod events are not enabled.
    NoPodEvents,
}

impl Variant {
    /// All there are.
    pub const ALL: [Self; 5] =
        [Self::StreamedLists, Self::V1Alpha1, Self::NoV1, Self::NoV1Alpha2, Self::NoPodEvents];

    /// What it is called on command lines.
    pub fn name(self) -> &'static str {
        match self {
            Self::StreamedLists => "streamed-lists",
            Self::V1Alpha1 => "v1alpha1",
            Self::NoV1 => "no-v1",
            Self::NoV1Alpha2 => "no-v1alpha2",
            Self::NoPodEvents => "no-pod-events",
        }
    }
}
