// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// What the page says, in each of its languages. What detectors say comes from the API, in the mapper's language.

const english = {
  other: "中文", tag: "en",
  open: "What is wrong now", none: "Nothing is wrong: no incident is open.", over: "What was wrong", all: "Incidents", time: "Time", noneOver: "No incident is remembered.",
  devices: "Devices", filter: "Name or label, such as hall=north", anySeverity: "all", skip: "Go on behind the devices", noDevices: "No property has been judged yet.",
  fits: (n, all) => n === all ? `${all} ${all === 1 ? "device" : "devices"}` : `${n} of ${all} devices`,
  critical: "critical", warning: "warning", normal: "normal", unknown: "not judged",
  since: (d) => `for ${d}`, lasted: (d) => `lasted ${d}`, days: "d", hours: "h", minutes: "min", seconds: "s",
  is: (what, kind) => `${what}: ${kind}`, inOther: (kind, text) => `${kind} (${text})`, because: (kind, cause) => `${kind}; to blame is ${cause}`, withIt: "Looks wrong because of it",
  kinds: {
    jump: "jumped", correlation: "contradicts its group", causal: "contradicts its causes and effects", failed: "cannot be judged: its detector failed",
    freeze: "stands still", spike: "is far from what was expected", level: "went to another level", drift: "drifts", noise: "is noisier than usual",
    pattern: "does not follow its pattern", range: "is out of its range", state: "is in an unusual state", missing: "is silent", late: "comes late",
    duplicate: "repeats readings", outOfOrder: "sends readings out of order", invalid: "sends what is no reading", stuckClock: "has a clock that stands still", desired: "is not what was asked for",
  },
  readings: (p, n, dropped) => `${p} ${p === 1 ? "property" : "properties"}, ${n} readings${dropped ? `, ${dropped} of them dropped` : ""}`,
  trouble: (t) => `Beside detection: ${t.part}: ${t.error}`, away: "The mapper does not answer. Trying again …",
  back: "All devices", value: "Reading", expected: "Expected", band: "99 of 100 lie between", score: "How unusual", threshold: "Alarm from",
  at: "Read at", detector: "Detector", model: "Model", config: "Configuration", causes: "To blame", and: "and", whole: "the device as a whole",
  chart: "Readings as they come, with what was expected of them", wait: "Waiting for the next reading …",
  normalSaid: "This was normal", faultSaid: "This was a fault", note: "Note", by: "Your name",
  learned: "Noted, and the detector takes it for normal from now on.", noted: "Noted.", notLearned: (why) => `Noted. The detector does not learn it: ${why}`,
  namespace: "Namespace", anyNamespace: "all namespaces", anyModel: "all models", node: "Node", anyNode: "all nodes", found: "Why that is expected", others: "others", labels: "Labels", kind: "Kind",
  rate: "Share of properties that are anomalous", noRate: "Nothing has been counted yet: the first minute is shown when it is over.",
  unusual: "Most unusual", noUnusual: "Nothing was unusual.", between: (a, b) => `${a} – ${b}`,
  spans: { minute: "1 minute", hour: "1 hour", six: "6 hours", shift: "8 hours", day: "1 day", week: "1 week", all: "all" },
  span: "Span of time", earlier: "earlier", later: "later", live: "Live", drag: "Drag over the chart for a part of it; a double click shows all again.", strips: "Shaded: incidents. Above: readings that were judged unusual or came amiss. Below: what people said of them.",
  lastSeen: (side, d) => `It was last so ${side === "up" ? "high" : "low"} ${d} before.`, neverSeen: (side, t) => `It was never so ${side === "up" ? "high" : "low"} since ${t}, when its recording begins.`,
  nothingThen: "Nothing is recorded of that time.", unknownHere: "This is not known here, or it is not for you to see.", asUsual: "as usual", group: "Judged together, who is to blame first",
  ofIncident: (t) => `What was the incident of ${t}?`, ofSpan: (a, b) => `What was it from ${a} to ${b}?`,
  muteTitle: "Alert nobody for a while", muteWhat: "What is muted", muteFor: "For how long", wholeDevice: (d) => `all of ${d}`, mute: "Mute", unmute: "Alert again", mutedTitle: "Muted",
  mutedUntil: (t, by, note) => `until ${t}${by ? `, by ${by}` : ""}${note ? `: ${note}` : ""}`,
  audit: "Who changed what", who: "Who", what: "What", device: "Device", noActs: "Nobody has changed anything.", acts: { normal: "said it was normal", fault: "said it was a fault", mute: "muted", unmute: "unmuted" },
  looks: "may look, not change", looksAt: (names) => `may look at ${names}`,
  tryTitle: "Try before you change", tryWhat: "What is recorded is judged again, as it is now and as you choose, both from the beginning. Nothing changes.",
  tryOf: "Of the last", tryRun: "Try", tryStop: "Stop", trying: "The recorded readings are being judged …", stopped: "Stopped.", unchanged: "as it is",
  sensitivity: "Sensitivity", sensitivities: { low: "low", medium: "medium", high: "high" }, season: "Season", seasonSought: "is looked for", seasonNot: "is not looked for",
  alarms: (n, was) => `Alarms: ${n} instead of ${was}.`, alarmsAWeek: (n, was) => `Alarms a week: ${n} instead of ${was}.`,
  stillFound: (n, all, was) => n === all ? `${n} of your ${all} confirmed faults still found.` : `${n} of your ${all} confirmed faults found, ${was} as it is now.`,
  noConfirmed: "You have confirmed no fault in this time.", triedOn: (n, cut) => `${n} readings${cut ? ", the latest of more" : ""}`,
  withNow: "As it is now", withTried: "As you choose", yaml: "For the Device, under pushMethod:", copy: "Copy", copied: "Copied",
  token: "This API wants its token (the content of its tokenFile).", enter: "Enter", wrong: "That is not the token.", failed: (why) => `That did not work: ${why}`,
};

const chinese = {
  other: "English", tag: "zh",
  open: "当前异常", none: "一切正常：没有未结束的异常事件。", over: "已结束的异常", all: "异常事件", time: "时间", noneOver: "没有记录到异常事件。",
  devices: "设备", filter: "名称或标签，如 hall=north", anySeverity: "全部", skip: "跳过设备列表", noDevices: "还没有属性得到判定。",
  fits: (n, all) => n === all ? `共 ${all} 台设备` : `${all} 台设备中的 ${n} 台`,
  critical: "严重", warning: "警告", normal: "正常", unknown: "未判定",
  since: (d) => `已持续 ${d}`, lasted: (d) => `持续了 ${d}`, days: "天", hours: "小时", minutes: "分", seconds: "秒",
  is: (what, kind) => `${what}：${kind}`, inOther: (kind, text) => `${kind}（${text}）`, because: (kind, cause) => `${kind}；原因在于 ${cause}`, withIt: "受其影响显示异常的",
  kinds: {
    jump: "跳变", correlation: "与同组其他成员矛盾", causal: "与其因果关系矛盾", failed: "检测器故障，无法判定",
    freeze: "停滞不变", spike: "远离预期", level: "偏移到另一水平", drift: "漂移", noise: "噪声大于平常",
    pattern: "不符合其规律", range: "超出范围", state: "处于异常状态", missing: "没有数据", late: "数据迟到",
    duplicate: "重复发送数据", outOfOrder: "数据乱序", invalid: "发送无效数据", stuckClock: "时钟停滞", desired: "与期望值不符",
  },
  readings: (p, n, dropped) => `${p} 个属性，${n} 个读数${dropped ? `，其中丢弃 ${dropped} 个` : ""}`,
  trouble: (t) => `检测以外的问题：${t.part}：${t.error}`, away: "映射器没有应答，正在重试……",
  back: "全部设备", value: "读数", expected: "期望值", band: "百分之九十九落在", score: "异常程度", threshold: "报警阈值",
  at: "读取时间", detector: "检测器", model: "模型", config: "配置", causes: "可能的原因", and: "与", whole: "整台设备",
  chart: "实时读数与期望值", wait: "正在等待下一个读数……",
  normalSaid: "这是正常的", faultSaid: "这是故障", note: "备注", by: "您的姓名",
  learned: "已记录，检测器今后将其视为正常。", noted: "已记录。", notLearned: (why) => `已记录。检测器没有学习：${why}`,
  namespace: "命名空间", anyNamespace: "全部命名空间", anyModel: "全部型号", node: "节点", anyNode: "全部节点", found: "预期的依据", others: "其他", labels: "标签", kind: "类型",
  rate: "异常属性所占比例", noRate: "尚无统计：第一分钟结束后显示。",
  unusual: "最不寻常", noUnusual: "没有不寻常之处。", between: (a, b) => `${a} – ${b}`,
  spans: { minute: "1 分钟", hour: "1 小时", six: "6 小时", shift: "8 小时", day: "1 天", week: "1 周", all: "全部" },
  span: "时间范围", earlier: "更早", later: "更晚", live: "实时", drag: "在图上拖动可放大一段；双击恢复。", strips: "底色：异常事件；上方条带：判为异常或传输有误的读数；下方条带：人工标注。",
  lastSeen: (side, d) => `上一次如此之${side === "up" ? "高" : "低"}是在 ${d}之前。`, neverSeen: (side, t) => `自 ${t} 开始记录以来从未如此之${side === "up" ? "高" : "低"}。`,
  nothingThen: "该时段没有记录。", unknownHere: "此处没有该属性，或您无权查看。", asUsual: "一切如常", group: "共同判定的成员，最可能的原因在前",
  ofIncident: (t) => `${t} 的异常事件是什么情况？`, ofSpan: (a, b) => `${a} 至 ${b} 是什么情况？`,
  muteTitle: "暂时不报警", muteWhat: "静音对象", muteFor: "静音时长", wholeDevice: (d) => `整台 ${d}`, mute: "静音", unmute: "恢复报警", mutedTitle: "已静音",
  mutedUntil: (t, by, note) => `至 ${t}${by ? `，操作人 ${by}` : ""}${note ? `：${note}` : ""}`,
  audit: "操作记录", who: "操作人", what: "操作", device: "设备", noActs: "还没有任何操作。", acts: { normal: "确认为正常", fault: "确认为故障", mute: "静音", unmute: "取消静音" },
  looks: "只能查看，不能更改", looksAt: (names) => `只能查看 ${names}`,
  tryTitle: "更改之前先试", tryWhat: "用现有设置和您选择的设置分别从头重新判定已记录的数据，不会更改任何设置。",
  tryOf: "试用最近", tryRun: "试一试", tryStop: "停止", trying: "正在重新判定已记录的读数……", stopped: "已停止。", unchanged: "保持不变",
  sensitivity: "灵敏度", sensitivities: { low: "低", medium: "中", high: "高" }, season: "周期", seasonSought: "自动寻找", seasonNot: "不寻找",
  alarms: (n, was) => `报警 ${n} 次，现为 ${was} 次。`, alarmsAWeek: (n, was) => `每周报警 ${n} 次，现为 ${was} 次。`,
  stillFound: (n, all, was) => n === all ? `您确认的 ${all} 个故障仍全部发现。` : `您确认的 ${all} 个故障中发现 ${n} 个，现为 ${was} 个。`,
  noConfirmed: "这段时间内您没有确认过故障。", triedOn: (n, cut) => `${n} 个读数${cut ? "，仅为最新部分" : ""}`,
  withNow: "现有设置", withTried: "您的选择", yaml: "写入设备的 pushMethod：", copy: "复制", copied: "已复制",
  token: "此接口需要令牌（tokenFile 的内容）。", enter: "进入", wrong: "令牌不正确。", failed: (why) => `操作失败：${why}`,
};

const kept = () => { try { return localStorage.getItem("language"); } catch { return null; } };
let zh = (kept() ?? navigator.language ?? "en").startsWith("zh");

export const words = () => zh ? chinese : english;

export function turn() {
  zh = !zh;
  try { localStorage.setItem("language", words().tag); } catch { /* private windows keep nothing */ }
}

// lasting is a time in seconds, in the two largest units that say something.
export function lasting(seconds) {
  const w = words(), s = Math.max(0, Math.round(seconds));
  const parts = [[Math.floor(s / 86400), w.days], [Math.floor(s / 3600) % 24, w.hours], [Math.floor(s / 60) % 60, w.minutes], [s % 60, w.seconds]];
  const first = parts.findIndex(([n]) => n > 0);
  if (first < 0) return `0 ${w.seconds}`;
  return parts.slice(first, first + 2).filter(([n]) => n > 0).map(([n, unit]) => `${n} ${unit}`).join(" ");
}
