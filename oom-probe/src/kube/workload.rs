//! What a pod belongs to, from its own metadata: no ReplicaSet or Job is ever read.

use jiff::{SignedDuration, Timestamp};

use super::object::{Metadata, OwnerReference};
use capture::model::kill::Workload;

/// What a pod belongs to, and what says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Kind and name.
    pub workload: Workload,
    /// What that rests on.
    pub basis: Basis,
}

/// How sure the workload of a pod is, surest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// It is the owner that the pod's metadata names.
    Owner,
    /// The owner's name ends in the hash that only this kind of controller puts on the pod's
    /// labels: wrong only if somebody imitates it on purpose.
    TemplateHash,
    /// The owner's name ends in a time that fits the pod's creation, as the CronJob controller
    /// writes it: wrong only for a Job that somebody named in just this way.
    ScheduledTime,
}

/// How long before the pod's creation a CronJob's run may have been due: until
/// `startingDeadlineSeconds`, in a queue (Kueue), and through all retries of its Job.
const DUE_BEFORE: SignedDuration = SignedDuration::from_hours(30 * 24);
/// How long after it, by clocks that differ.
const DUE_AFTER: SignedDuration = SignedDuration::from_mins(5);

/// The workload of a pod.
///
/// | owner | workload |
/// |---|---|
/// | ReplicaSet `<name>-<pod-template-hash>` | Deployment (Argo's Rollout by its own label) |
/// | Job `<name>-<minutes>`, with a time shortly before the pod's creation | CronJob |
/// | any other, of any API group: Node for static pods | itself |
/// | none | none |
///
/// The names are those of `pkg/controller/deployment/sync.go` (`getNewReplicaSet`) and
/// `pkg/controller/cronjob/cronjob_controllerv2.go` (`getJobName`).
pub fn of(metadata: &Metadata) -> Option<Owner> {
    let owner = controller(&metadata.owner_references)?;
    let derived = match &*owner.kind {
        "ReplicaSet" => by_template_hash(owner, metadata),
        "Job" => by_scheduled_time(owner, metadata.creation_timestamp),
        _ => None,
    };
    Some(derived.unwrap_or_else(|| Owner {
        workload: workload(&owner.kind, &owner.name),
        basis: Basis::Owner,
    }))
}

/// The managing owner; some operators name theirs without that mark, so else the first.
fn controller(owners: &[OwnerReference]) -> Option<&OwnerReference> {
    owners
        .iter()
        .find(|owner| owner.controller)
        .or_else(|| owners.first())
        .filter(|owner| !owner.kind.is_empty() && !owner.name.is_empty())
}

fn by_template_hash(owner: &OwnerReference, metadata: &Metadata) -> Option<Owner> {
    let labels = &metadata.labels;
    [
        ("Deployment", &labels.pod_template_hash),
        ("Rollout", &labels.rollouts_pod_template_hash),
    ]
    .into_iter()
    .find_map(|(kind, hash)| {
        let name = owner.name.strip_suffix(hash.as_deref()?)?;
        let name = name.strip_suffix('-')?;
        (!name.is_empty()).then(|| Owner {
            workload: workload(kind, name),
            basis: Basis::TemplateHash,
        })
    })
}

fn by_scheduled_time(owner: &OwnerReference, created: Option<Timestamp>) -> Option<Owner> {
    let (name, digits) = owner.name.rsplit_once('-')?;
    if name.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number: i64 = digits.parse().ok()?;
    // Minutes since Kubernetes 1.21, seconds before.
    let due = [number.checked_mul(60)?, number]
        .into_iter()
        .filter_map(|seconds| Timestamp::from_second(seconds).ok());
    let created = created?;
    let fits = |due: Timestamp| {
        let waited = created.duration_since(due);
        -DUE_AFTER <= waited && waited <= DUE_BEFORE
    };
    due.into_iter().any(fits).then(|| Owner {
        workload: workload("CronJob", name),
        basis: Basis::ScheduledTime,
    })
}

fn workload(kind: &str, name: &str) -> Workload {
    Workload {
        kind: kind.to_owned(),
        name: name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of_json(metadata: Value) -> Option<(String, String, Basis)> {
        let metadata: Metadata = serde_json::from_value(metadata).unwrap();
        of(&metadata).map(|owner| (owner.workload.kind, owner.workload.name, owner.basis))
    }

    fn owned(kind: &str, name: &str) -> Value {
        json!([{"apiVersion": "v1", "kind": kind, "name": name, "controller": true}])
    }

    #[test]
    fn a_replica_set_is_a_deployments_only_if_the_hash_says_so() {
        for (owner, label, hash, kind, name, basis) in [
            (
                "cart-7d9f8b6c5d",
                "pod-template-hash",
                "7d9f8b6c5d",
                "Deployment",
                "cart",
                Basis::TemplateHash,
            ),
            (
                "a-b-c-7d9f8b6c5d",
                "pod-template-hash",
                "7d9f8b6c5d",
                "Deployment",
                "a-b-c",
                Basis::TemplateHash,
            ),
            (
                "cart-6f",
                "rollouts-pod-template-hash",
                "6f",
                "Rollout",
                "cart",
                Basis::TemplateHash,
            ),
            // A ReplicaSet made by hand, with or without a dash in its name.
            (
                "cart-blue",
                "app",
                "cart",
                "ReplicaSet",
                "cart-blue",
                Basis::Owner,
            ),
            // The label of something else.
            (
                "cart-7d9f8b6c5d",
                "pod-template-hash",
                "aaaaaaaaaa",
                "ReplicaSet",
                "cart-7d9f8b6c5d",
                Basis::Owner,
            ),
            // Nothing would remain.
            (
                "-7d9f8b6c5d",
                "pod-template-hash",
                "7d9f8b6c5d",
                "ReplicaSet",
                "-7d9f8b6c5d",
                Basis::Owner,
            ),
            (
                "7d9f",
                "pod-template-hash",
                "7d9f",
                "ReplicaSet",
                "7d9f",
                Basis::Owner,
            ),
            (
                "cart7d9f",
                "pod-template-hash",
                "7d9f",
                "ReplicaSet",
                "cart7d9f",
                Basis::Owner,
            ),
        ] {
            let metadata = json!({
                "labels": {label: hash},
                "ownerReferences": owned("ReplicaSet", owner),
            });
            assert_eq!(
                of_json(metadata),
                Some((kind.to_owned(), name.to_owned(), basis)),
                "{owner} with {label}={hash}"
            );
        }
    }

    #[test]
    fn a_job_is_a_cron_jobs_only_if_its_name_ends_in_the_time_it_was_due() {
        // 2025-11-20T12:00:00Z is minute 29394000 and second 1763640000.
        for (job, kind, name, basis) in [
            ("backup-29394000", "CronJob", "backup", Basis::ScheduledTime),
            (
                "backup-1763640000",
                "CronJob",
                "backup",
                Basis::ScheduledTime,
            ),
            (
                "nightly-db-backup-29393100",
                "CronJob",
                "nightly-db-backup",
                Basis::ScheduledTime,
            ),
            // Due in five hours, a year ago: numbers that are no times.
            ("backup-29394300", "Job", "backup-29394300", Basis::Owner),
            ("backup-28868400", "Job", "backup-28868400", Basis::Owner),
            // A date, which is what people put into names.
            ("backup-20251120", "Job", "backup-20251120", Basis::Owner),
            ("backup-2", "Job", "backup-2", Basis::Owner),
            ("backup-29394000x", "Job", "backup-29394000x", Basis::Owner),
            ("29394000", "Job", "29394000", Basis::Owner),
            ("-29394000", "Job", "-29394000", Basis::Owner),
            ("backup-", "Job", "backup-", Basis::Owner),
            (
                "backup-99999999999999999999",
                "Job",
                "backup-99999999999999999999",
                Basis::Owner,
            ),
            (
                "backup-9223372036854775807",
                "Job",
                "backup-9223372036854775807",
                Basis::Owner,
            ),
        ] {
            let metadata = json!({
                "creationTimestamp": "2025-11-20T12:00:03Z",
                "ownerReferences": owned("Job", job),
            });
            assert_eq!(
                of_json(metadata),
                Some((kind.to_owned(), name.to_owned(), basis)),
                "{job}"
            );
        }
    }

    #[test]
    fn every_other_owner_is_the_workload_itself() {
        for (kind, name) in [
            ("StatefulSet", "db"),
            ("DaemonSet", "kube-proxy"),
            ("ReplicationController", "old"),
            ("Node", "node-1"),
            ("RayCluster", "train"),
        ] {
            assert_eq!(
                of_json(json!({"ownerReferences": owned(kind, name)})),
                Some((kind.to_owned(), name.to_owned(), Basis::Owner))
            );
        }
    }

    #[test]
    fn the_controller_comes_before_the_other_owners() {
        let reference =
            |kind, controller| json!({"kind": kind, "name": "x", "controller": controller});
        for (owners, kind) in [
            (
                json!([reference("Tenant", false), reference("DaemonSet", true)]),
                Some("DaemonSet"),
            ),
            (
                json!([reference("Tenant", false), reference("Other", false)]),
                Some("Tenant"),
            ),
            (json!([{"kind": "Tenant", "name": "x"}]), Some("Tenant")),
            (json!([{"kind": "", "name": "x", "controller": true}]), None),
            (json!([{"kind": "DaemonSet", "controller": true}]), None),
            (json!([]), None),
            (Value::Null, None),
        ] {
            assert_eq!(
                of_json(json!({"ownerReferences": owners}))
                    .map(|(kind, ..)| kind)
                    .as_deref(),
                kind,
                "{owners}"
            );
        }
    }
}
