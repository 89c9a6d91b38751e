//! Names that only one object may hold at a time.

use std::collections::HashMap;

/// Who holds which name. Pods and containers have one each.
#[derive(Debug, Default)]
pub(crate) struct Names {
    holders: HashMap<String, String>,
}

impl Names {
    /// Reserves `name` for `id`, or gives the id that holds it.
    pub(crate) fn reserve(&mut self, name: &str, id: &str) -> Result<(), String> {
        if let Some(holder) = self.holders.get(name) {
            return Err(holder.clone());
        }
        self.holders.insert(name.to_owned(), id.to_owned());
        Ok(())
    }

    /// The name is free again.
    pub(crate) fn release(&mut self, name: &str) {
        self.holders.remove(name);
    }
}
