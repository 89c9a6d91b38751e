//! CRI-O before 1.36: of several removals of one image at the same time all but the first failed, though the call is
//! idempotent by contract.

use tonic::Status;

use super::{Behaviour, Regression};
use crate::failure::plain;

pub(super) const REGRESSION: Regression = Regression {
    name: "cri-o-9803",
    summary: "RemoveImage fails where another call removes the same image at the same time",
    source: "cri-o#9803",
    shows: &[("RemoveImage", "outcome.code")],
    behaviour: || Box::new(GoneUnderway),
};

struct GoneUnderway;

impl Behaviour for GoneUnderway {
    fn removed_meanwhile(&self) -> Result<(), Status> {
        Err(plain("delete image: identifier is not an image"))
    }
}
