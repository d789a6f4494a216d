// Registers the component that the panel "Review" consists of (fiftyone_segad/plugin/panels/anomaly_review.py), and the
// operator by which samples that were opened are read anew.
// React and the App's own packages are those of the page: nothing of them is in the bundle.

import { ReloadOpenedSamples } from "./openedSamples.js";
import { Review } from "./Review.jsx";

const { registerComponent, PluginComponentType } = window.__fop__;
const { executeOperator, registerOperator, usePanelEvent } = window.__foo__;
const { usePanelContext } = window.__fosp__;
const { nullableModalSampleId } = window.__fos__;
const { useRecoilValue } = window.recoil;
const { getFetchOrigin, getFetchPathPrefix } = window.__fou__;
const { useRef } = window.React;
const PLUGIN = "@segad/anomaly";
const REVIEWER = "segad-reviewer";
const MODAL = "modal"; // where the App shows the panels beside an open sample

// What a tab keeps over a reload; the name of the reviewer is kept for all of the browser's tabs
const memory = {
  read: (place) => JSON.parse(sessionStorage.getItem(place) ?? "null"),
  write: (place, value) => sessionStorage.setItem(place, JSON.stringify(value)),
  reviewer: () => localStorage.getItem(REVIEWER) ?? "",
  setReviewer: (name) => localStorage.setItem(REVIEWER, name),
};

function media(path) {
  if (/^https?:/.test(path)) return path;
  return `${getFetchOrigin()}${getFetchPathPrefix()}/media?filepath=${encodeURIComponent(path)}`;
}

// The grid shows what it has read until it is told to read again; FiftyOne's "reload_samples" does not tell it
function readAgain() {
  executeOperator("reload_dataset");
  executeOperator(`${PLUGIN}/reload_opened_samples`);
}

function SegadReview({ schema }) {
  const { node, scope } = usePanelContext();
  const opened = useRecoilValue(nullableModalSampleId);
  const latest = useRef(null);
  latest.current = { handle: usePanelEvent(), methods: schema.view };
  const call = (method, params) =>
    new Promise((resolve) => {
      const { handle, methods } = latest.current;
      const callback = ({ result, error, errorMessage }) =>
        resolve(error ? { error: String(errorMessage ?? error), again: true } : result ?? {});
      handle(node.id, { operator: methods[method], params, callback });
    });
  return <Review call={call} media={media} memory={memory} rescored={readAgain} opened={scope === MODAL ? opened : null} />;
}

registerComponent({
  name: "SegadReview",
  label: "SegadReview",
  component: SegadReview,
  type: PluginComponentType.Component,
  activator: () => true,
});

registerOperator(ReloadOpenedSamples, PLUGIN);
