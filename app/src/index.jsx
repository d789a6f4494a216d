// Registers the component that the panel "Review" consists of (fiftyone_segad/plugin/panels/anomaly_review.py).
// React and the App's own packages are those of the page: nothing of them is in the bundle.

import { Review } from "./Review.jsx";

const { registerComponent, PluginComponentType } = window.__fop__;
const { usePanelEvent } = window.__foo__;
const { usePanelId } = window.__fosp__;
const { getFetchOrigin, getFetchPathPrefix } = window.__fou__;
const { useRef } = window.React;
const REVIEWER = "segad-reviewer";

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

function SegadReview({ schema }) {
  const panel = usePanelId();
  const latest = useRef(null);
  latest.current = { handle: usePanelEvent(), methods: schema.view };
  const call = (method, params) =>
    new Promise((resolve) => {
      const { handle, methods } = latest.current;
      const callback = ({ result, error, errorMessage }) =>
        resolve(error ? { error: String(errorMessage ?? error), again: true } : result ?? {});
      handle(panel, { operator: methods[method], params, callback });
    });
  return <Review call={call} media={media} memory={memory} />;
}

registerComponent({
  name: "SegadReview",
  label: "SegadReview",
  component: SegadReview,
  type: PluginComponentType.Component,
  activator: () => true,
});
