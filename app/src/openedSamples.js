// Operator that reads the samples anew that have been opened. The App keeps each as it was when it was opened: neither
// of FiftyOne's operators "reload_dataset" and "reload_samples" reads them again.

const { Operator, OperatorConfig } = window.__foo__;
const fos = window.__fos__;
const { getFetchFunction } = window.__fou__;
const OPENED = /^[0-9a-f]{24}-modal$/; // names of their records in the App's store
const BATCH = 20; // samples in one request

export class ReloadOpenedSamples extends Operator {
  get config() {
    return new OperatorConfig({ name: "reload_opened_samples", label: "Reload the opened samples", unlisted: true });
  }

  async execute({ state: { snapshot } }) {
    const [open, dataset, view, slice, groupField] = await Promise.all(
      [fos.modalSelector, fos.datasetName, fos.view, fos.groupSlice, fos.groupField].map((one) => snapshot.getPromise(one)),
    );
    const environment = fos.getCurrentEnvironment();
    const store = environment.getStore().getSource();
    const opened = store.getRecordIDs().filter((id) => OPENED.test(id));
    const filters = opened.map((record) => {
      const { sample } = store.get(record);
      const group = slice && (typeof sample === "string" ? JSON.parse(sample) : sample)[groupField];
      return { id: record.split("-")[0], group: group ? { id: group._id, slice, slices: [group.name] } : null };
    });
    filters.sort((one, other) => (other.id === open?.id) - (one.id === open?.id)); // the open one first
    for (let at = 0; at < filters.length; at += BATCH) {
      const samples = await read(dataset, view, filters.slice(at, at + BATCH));
      environment.commitUpdate((records) => samples.forEach((sample) => write(records, sample)));
    }
  }
}

// Those that are not in the view any more are left out
async function read(dataset, view, filters) {
  const parameters = filters.map((_, i) => `$filter${i}: SampleFilter!`).join(", ");
  const samples = filters.map(
    (_, i) => `sample${i}: sample(dataset: $dataset, view: $view, filter: $filter${i}) {
      ... on ImageSample { id sample urls { field url } }
    }`,
  );
  const query = `query openedSamples($dataset: String!, $view: BSONArray!, ${parameters}) { ${samples.join("\n")} }`;
  const variables = { dataset, view, ...Object.fromEntries(filters.map((filter, i) => [`filter${i}`, filter])) };
  const { data } = await getFetchFunction()("POST", "/graphql", { query, variables });
  return Object.values(data ?? {}).filter((sample) => sample?.id);
}

// A sample is drawn from what its record has: its fields, and the addresses of its files
function write(records, { id, sample, urls }) {
  const record = records.get(id);
  if (!record) return;
  record.setValue(JSON.stringify(sample), "sample");
  const files = urls.map(({ field, url }, i) => {
    const name = `client:${id}:urls:${i}`; // as the App calls them
    const file = records.get(name) ?? records.create(name, "MediaURL");
    file.setValue(field, "field");
    file.setValue(url, "url");
    return file;
  });
  record.setLinkedRecords(files, "urls");
}
