// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// What the page says, in each of its languages. What detectors say comes from the API, in the mapper's language.

const english = {
  other: "中文", tag: "en",
  open: "What is wrong now", none: "Nothing is wrong: no incident is open.", over: "What was wrong", all: "Incidents", time: "Time", noneOver: "No incident is remembered.",
  devices: "Devices", filter: "Namespace, device or property", anySeverity: "all", more: (n) => `Show ${n} more`, noDevices: "No property has been judged yet.",
  fits: (n, all) => n === all ? `${all} devices` : `${n} of ${all} devices`,
  critical: "critical", warning: "warning", normal: "normal", unknown: "not judged",
  since: (d) => `for ${d}`, lasted: (d) => `lasted ${d}`, days: "d", hours: "h", minutes: "min", seconds: "s",
  is: (what, kind) => `${what}: ${kind}`,
  kinds: {
    jump: "jumped", correlation: "contradicts its group", causal: "contradicts its causes and effects", failed: "cannot be judged: its detector failed",
    freeze: "stands still", spike: "jumped and came back", level: "went to another level", drift: "drifts", noise: "is noisier than usual",
    pattern: "does not follow its pattern", range: "is out of its range", state: "is in an unusual state", missing: "is silent", late: "comes late",
    duplicate: "repeats readings", outOfOrder: "sends readings out of order", invalid: "sends what is no reading", stuckClock: "has a clock that stands still", desired: "is not what was asked for",
  },
  readings: (p, n, dropped) => `${p} properties, ${n} readings${dropped ? `, ${dropped} of them dropped` : ""}`,
  trouble: (t) => `Beside detection: ${t.part}: ${t.error}`, away: "The mapper does not answer. Trying again …",
  back: "All devices", value: "Reading", expected: "Expected", band: "99 of 100 lie between", score: "How unusual", threshold: "Alarm from",
  at: "Read at", detector: "Detector", model: "Model", config: "Configuration", causes: "To blame", and: "and", whole: "the device as a whole",
  chart: "Readings as they come, with what was expected of them", wait: "Waiting for the next reading …",
  normalSaid: "This was normal", faultSaid: "This was a fault", note: "Note", by: "Your name",
  learned: "Noted, and the detector takes it for normal from now on.", noted: "Noted.", notLearned: (why) => `Noted. The detector does not learn it: ${why}`,
  token: "This API wants its token (the content of its tokenFile).", enter: "Enter", wrong: "That is not the token.", failed: (why) => `That did not work: ${why}`,
};

const chinese = {
  other: "English", tag: "zh",
  open: "当前异常", none: "一切正常：没有未结束的异常事件。", over: "已结束的异常", all: "异常事件", time: "时间", noneOver: "没有记录到异常事件。",
  devices: "设备", filter: "命名空间、设备或属性", anySeverity: "全部", more: (n) => `再显示 ${n} 个`, noDevices: "还没有属性得到判定。",
  fits: (n, all) => n === all ? `共 ${all} 台设备` : `${all} 台设备中的 ${n} 台`,
  critical: "严重", warning: "警告", normal: "正常", unknown: "未判定",
  since: (d) => `已持续 ${d}`, lasted: (d) => `持续了 ${d}`, days: "天", hours: "小时", minutes: "分", seconds: "秒",
  is: (what, kind) => `${what}：${kind}`,
  kinds: {
    jump: "跳变", correlation: "与同组其他成员矛盾", causal: "与其因果关系矛盾", failed: "检测器故障，无法判定",
    freeze: "停滞不变", spike: "突跳后恢复", level: "偏移到另一水平", drift: "漂移", noise: "噪声大于平常",
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

// number writes a reading with as many digits as say something.
export const number = (v) => v === undefined || v === null ? "–" : Number(v.toPrecision(6)).toString();
