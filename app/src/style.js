// The App's own colours, so that both of its themes look right
const text = "var(--fo-palette-text-primary)";
const faint = "var(--fo-palette-text-secondary)";
const line = "var(--fo-palette-divider)";
const raised = "var(--fo-palette-background-level2)";
const orange = "var(--fo-palette-primary-main, #ff6d04)";

export const DEFECT = "#d500f9";
export const HARMLESS = "#00c853";
export const TRUTH = "#00b8d4";
export const LEVELS = ["#ffd54f", "#ffb300", "#fb8c00", "#f4511e"];

export const STYLE = `
.sr { height: 100%; overflow: auto; box-sizing: border-box; padding: 10px 12px; color: ${text}; outline: none;
  font-family: inherit; font-size: 14px; line-height: 1.4; display: flex; flex-direction: column; gap: 8px;
  border-top: 2px solid transparent; }
.sr:focus-within, .sr:focus { border-top-color: ${orange}; }
.sr-row { display: flex; flex-wrap: wrap; align-items: center; gap: 8px; }
.sr-space { flex: 1; }
.sr-faint { color: ${faint}; }
.sr b { font-weight: 600; }
.sr select, .sr input { background: ${raised}; color: ${text}; border: 1px solid ${line}; border-radius: 4px;
  padding: 3px 6px; font: inherit; }
.sr input { width: 110px; }
.sr button { background: ${raised}; color: ${text}; border: 1px solid ${line}; border-radius: 4px; padding: 4px 9px;
  font: inherit; cursor: pointer; display: inline-flex; gap: 6px; align-items: center; }
.sr button:hover:enabled { border-color: ${orange}; }
.sr button:disabled { opacity: 0.45; cursor: default; }
.sr button.sr-on { border-color: ${orange}; }
.sr button.sr-defect { border-color: ${DEFECT}; }
.sr button.sr-harmless { border-color: ${HARMLESS}; }
.sr kbd { font: 600 12px monospace; border: 1px solid ${line}; border-radius: 3px; padding: 0 5px; min-width: 10px;
  text-align: center; background: var(--fo-palette-background-body); color: ${text}; }
.sr-pictures { display: flex; flex-wrap: wrap; gap: 10px; }
.sr-frame { flex: 1 1 220px; min-width: 200px; max-width: min(100%, 62vh); }
.sr-frame figcaption { min-height: 20px; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.sr-frame figure, .sr figure { margin: 0; }
.sr-picture { display: block; width: 100%; aspect-ratio: 1; background: #111; border-radius: 4px; }
.sr-empty { display: flex; align-items: center; justify-content: center; text-align: center; width: 100%;
  aspect-ratio: 1; background: ${raised}; border-radius: 4px; color: ${faint}; padding: 12px; box-sizing: border-box; }
.sr-histogram { width: 240px; height: 54px; border-bottom: 1px solid ${line}; }
.sr-good { fill: ${faint}; opacity: 0.6; }
.sr-alarming { fill: ${orange}; opacity: 0.75; }
.sr-threshold { stroke: ${text}; stroke-dasharray: 4 3; }
.sr-score { stroke: ${text}; fill: ${text}; }
.sr-mark { border: 2px solid; border-radius: 4px; padding: 0 8px; font-weight: 600; }
.sr-notice { border-left: 3px solid ${orange}; padding: 2px 8px; background: ${raised}; }
.sr-title { font-size: 16px; }
`;
