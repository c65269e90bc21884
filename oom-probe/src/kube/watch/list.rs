//! The list: taken in pieces, item by item.

use kube::{api::ListParams, client::Body, core::Request};
use tokio::time::Instant;

use super::{
    End, Verb, Watcher,
    failure::Failure,
    next_piece,
    split::{ListMeta, ListSplitter},
};
use crate::kube::{PodEvent, object};

/// Items of one list, of this node or not: a server that ignores the field selector sends those of
/// the whole cluster, and one that never ends is left.
const MAX_ITEMS: usize = 200_000;
/// Bytes of one list.
const MAX_LIST: usize = 1 << 30;
/// Pages of one list. API servers send all in one from their cache.
const MAX_PAGES: usize = 1000;

impl Watcher {
    pub(super) async fn list(&mut self) -> Result<(), End> {
        self.send(PodEvent::ListStarts).await?;
        self.strangers = 0;
        let mut params = ListParams::default().fields(&self.selector()).match_any();
        let within = Instant::now() + self.patience.list;
        let mut pods = 0;
        for _ in 0..MAX_PAGES {
            let request = Request::new("/api/v1/pods")
                .list(&params)
                .map_err(|error| Failure::Garbage(error.to_string()))?;
            let body = self.request(request).await?;
            self.roles.allowed(Verb::List);
            let meta = self.page(body, within, &mut pods).await?;
            if meta.continue_token.is_empty() {
                if meta.resource_version.is_empty() {
                    return Err(Failure::Garbage("a list without a version".into()).into());
                }
                self.version = Some(meta.resource_version);
                return Ok(self.back(Some(pods)).await?);
            }
            params = params.continue_token(&meta.continue_token);
        }
        Err(Failure::Garbage(format!("a list of more than {MAX_PAGES} pages")).into())
    }

    async fn page(
        &mut self,
        mut body: Body,
        within: Instant,
        pods: &mut usize,
    ) -> Result<ListMeta, End> {
        let (mut splitter, mut items, mut bytes) = (ListSplitter::default(), 0, 0);
        loop {
            let Some(piece) = next_piece(&mut body, self.patience.answer).await? else {
                return Ok(splitter.finish()?);
            };
            bytes += piece.len();
            let mut found = Vec::new();
            splitter.feed(&piece, |item| {
                items += 1;
                found.extend(self.pod(item));
            })?;
            if items > MAX_ITEMS || bytes > MAX_LIST || Instant::now() > within {
                return Err(Failure::Garbage("a list without end".into()).into());
            }
            *pods += found.len();
            for pod in found {
                self.send(PodEvent::Listed(pod)).await?;
            }
        }
    }

    fn pod(&mut self, item: &[u8]) -> Option<Box<object::Pod>> {
        match serde_json::from_slice::<Box<object::Pod>>(item) {
            Ok(pod) => self.is_ours(&pod).then_some(pod),
            Err(_) => {
                self.report.unreadable(item);
                None
            }
        }
    }
}
