//! A catalogue in a CSV file of a known form.

mod aws;
mod gce;
mod kwok;

use std::collections::HashSet;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;

use super::Catalogue;
use crate::error::{Error, ErrorKind, Result};
use crate::file::read_file;
use crate::model::{CapacityType, InstanceType, MAX_PRICE_MICROS, Offering};
use crate::table::{Headed, Row};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// A catalogue read from a CSV file with a row per instance type. Which of the known forms it has
/// is told by its header; columns may be in any order, and others are ignored.
///
/// **AWS**, told by `alloc_cpu_m`: the columns `name,family,category,generation,size,arch,vcpu,`
/// `memory_mib,gpu_count,gpu_name,gpu_manufacturer,accel_count,accel_name,local_nvme_gib,max_pods,`
/// `alloc_cpu_m,alloc_memory_mib,alloc_ephemeral_gib,od_usd_per_hour,spot_usd_per_hour_est,hypervisor`.
/// NVIDIA's GPUs become `gpu_milli`; other accelerators become extended resources under their
/// device plugins' names (`amd.com/gpu`, `aws.amazon.com/neuron`, `qualcomm.com/qaic`). The zones
/// are [`ZONES`](Self::ZONES).
///
/// **KWOK**, Karpenter's catalogue of machines that don't exist, told by `od_price`: the columns
/// `name,arch,os,cpu,memory,pods,ephemeral_storage,od_price,spot_price`, amounts as Kubernetes
/// quantities. Of each machine 100 thousandths of a core and 10 MiB are the system's. The zones are
/// `test-zone-a` to `test-zone-d`.
///
/// **Google Compute Engine**, told by `vcpu_from_name`: the columns `name,vcpu_from_name,`
/// `od_usd_per_hour,preemptible_usd_per_hour`, preemptible being spot. Memory and GPUs follow from
/// the name by Google's documented machine types; a name of which they don't is skipped. What the
/// system keeps are GKE's published rules, and nodes have its default boot disk of 100 GB. The
/// zones are `us-central1-a` to `us-central1-c`.
///
/// A type is offered on demand and, where it has a price as spot, as spot, both in every zone. A
/// row with neither price is skipped. What is skipped is counted.
///
/// ```
/// let csv = "name,arch,os,cpu,memory,pods,ephemeral_storage,od_price,spot_price\n\
///            c-1x-amd64-linux,amd64,linux,1,2Gi,16,20Gi,0.0271,0.019\n";
/// let catalogue = binpack::CsvCatalogue::read(csv.as_bytes())?;
/// assert_eq!(catalogue.types()[0].allocatable.cpu_milli, 900);
/// # Ok::<(), binpack::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct CsvCatalogue {
    types: Arc<[InstanceType]>,
    skipped: usize,
}

/// How files of one source are read.
struct Form {
    /// Whose file it is.
    name: &'static str,
    /// The column that tells it from the others.
    mark: &'static str,
    /// The columns that are read.
    columns: &'static [&'static str],
    /// The zones, which no file names.
    zones: &'static [&'static str],
    /// The columns of the prices on demand and as spot.
    prices: [&'static str; 2],
    /// A row's type without offerings; `None` where what it has isn't known.
    instance_type: fn(&Row<'_>) -> Result<Option<InstanceType>>,
}

const FORMS: [&Form; 3] = [&aws::FORM, &kwok::FORM, &gce::FORM];

impl CsvCatalogue {
    /// The zones of a file of AWS's types.
    pub const ZONES: [&str; 3] = ["us-east-1a", "us-east-1b", "us-east-1c"];

    /// Reads a file, at once and as a whole.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] if there is no such file, [`ErrorKind::Unavailable`] if it can't be
    /// read, else as [`read`](Self::read). Each names the file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        read_file(path.as_ref(), Self::read)
    }

    /// Reads from `input`, for the zones of its form.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] that names the line and the column; for a header of no known form,
    /// it lists the known ones.
    pub fn read(input: impl Read) -> Result<Self> {
        let (file, form) = recognised(input)?;
        read_rows(file, form, form.zones)
    }

    /// Reads from `input`, for these zones.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read), or if there is no zone.
    pub fn read_for_zones(input: impl Read, zones: &[&str]) -> Result<Self> {
        if zones.is_empty() {
            return Err(Error::new(
                ErrorKind::Invalid,
                "zones: the list is empty: name at least one",
            ));
        }
        let (file, form) = recognised(input)?;
        read_rows(file, form, zones)
    }

    /// The types, in the file's order.
    #[must_use]
    pub fn types(&self) -> Arc<[InstanceType]> {
        self.types.clone()
    }

    /// How many rows had no price, or a name that doesn't tell what the machine has.
    #[must_use]
    pub fn skipped(&self) -> usize {
        self.skipped
    }
}

#[async_trait]
impl Catalogue for CsvCatalogue {
    async fn instance_types(&self) -> Result<Arc<[InstanceType]>> {
        Ok(self.types.clone())
    }
}

fn recognised<R: Read>(input: R) -> Result<(Headed<R>, &'static Form)> {
    let file = Headed::read(input)?;
    let form = file.form(&FORMS.map(|form| (form.name, form.mark, form)))?;
    Ok((file, form))
}

fn read_rows<R: Read>(file: Headed<R>, form: &Form, zones: &[&str]) -> Result<CsvCatalogue> {
    let zones: Vec<Arc<str>> = zones.iter().map(|zone| Arc::from(*zone)).collect();
    let (mut types, mut skipped) = (Vec::new(), 0);
    let mut names = HashSet::new();
    file.table(form.columns)?.for_each(|row| {
        row.unique("name", &mut names)?;
        let offerings = offerings(row, form.prices, &zones)?;
        match (form.instance_type)(row)? {
            Some(mut it) if !offerings.is_empty() => {
                it.offerings = offerings;
                types.push(it);
            }
            _ => skipped += 1,
        }
        Ok(())
    })?;
    Ok(CsvCatalogue { types: types.into(), skipped })
}

fn offerings(row: &Row<'_>, prices: [&str; 2], zones: &[Arc<str>]) -> Result<Vec<Offering>> {
    let mut offerings = Vec::new();
    for (capacity_type, column) in
        [CapacityType::OnDemand, CapacityType::Spot].into_iter().zip(prices)
    {
        if let Some(price) = row.micros(column, MAX_PRICE_MICROS)? {
            offerings
                .extend(zones.iter().map(|zone| Offering::new(zone.clone(), capacity_type, price)));
        }
    }
    Ok(offerings)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::check_types;

    #[test]
    fn an_unknown_header_is_refused_with_the_known_ones() {
        let said = CsvCatalogue::read("name,price\na,1\n".as_bytes()).unwrap_err().to_string();
        assert!(said.starts_with("line 1: the header is of no known form"), "{said}");
        for form in FORMS {
            assert!(said.contains(form.mark) && said.contains(form.name), "{said}");
        }
        let missing = CsvCatalogue::open("/nonexistent/types.csv").unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
        assert!(missing.to_string().starts_with("/nonexistent/types.csv: there is no such file"));
    }

    #[test]
    fn no_mark_is_in_another_form() {
        for form in FORMS {
            let marked: Vec<_> = FORMS.iter().filter(|f| f.columns.contains(&form.mark)).collect();
            assert_eq!(marked.len(), 1, "{}", form.mark);
        }
    }

    #[test]
    fn a_catalogue_without_zones_is_refused() {
        let header = format!("{}\n", kwok::FORM.columns.join(","));
        let said = CsvCatalogue::read_for_zones(header.as_bytes(), &[]).unwrap_err().to_string();
        assert_eq!(said, "zones: the list is empty: name at least one");
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic_and_what_is_read_is_well_formed(
            form in 0..FORMS.len(),
            cells in prop::collection::vec(
                prop::collection::vec("[-0-9.,\"a-z\n]{0,6}|[0-9]{1,3}|(n2|a2)-(standard|highgpu)-[18]g?", 21),
                0..4,
            ),
            noise in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let columns = FORMS[form].columns;
            let mut bytes = format!("{}\n", columns.join(",")).into_bytes();
            let rows: Vec<String> = cells.iter().map(|row| row[..columns.len()].join(",")).collect();
            let well_formed = [&bytes, rows.join("\n").as_bytes()].concat();
            if let Ok(catalogue) = CsvCatalogue::read(well_formed.as_slice()) {
                check_types(&catalogue.types()).expect("what is read passes the input's check");
            }
            bytes.extend(&noise);
            let _ = CsvCatalogue::read(bytes.as_slice());
            let _ = CsvCatalogue::read(noise.as_slice());
        }
    }
}
