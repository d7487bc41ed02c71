// Looks at the status page and at the HTML report in a real Chromium: that they show what /api/v1/ and the report's
// JSON say, that names with markup stay text, that nothing but their own style and script runs, and that they can be
// read on a phone, in the dark, without script and on paper.
//
// node look.js CHROMIUM DAEMON FOLDER PICTURES

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const [executablePath, daemon, folder, pictures] = process.argv.slice(2);
const here = import.meta.dirname;
const config = join(folder, "config.yaml");
const host = `--simulate=${join(here, "host.yaml")}`;
mkdirSync(pictures, { recursive: true });
writeFileSync(config, `${readFileSync(join(here, "config.yaml"))}\nstate: { directory: ${folder}/state }\n`);
writeFileSync(join(folder, "empty.yaml"), `state: { directory: ${folder}/exporter }\n`);

async function serve(file) {
  const process = spawn(daemon, ["serve", `--config.file=${file}`, host, "--web.listen-address=127.0.0.1:0"]);
  const address = await new Promise((resolve, reject) => {
    let log = "";
    process.stderr.on("data", (text) => {
      log += text;
      const found = log.match(/message=listening address=(\S+)/);
      if (found) resolve(found[1]);
    });
    process.on("exit", () => reject(new Error(`the daemon ended: ${log}`)));
  });
  const base = `http://${address}`;
  await until("it has looked at the host", async () => (await fetch(`${base}/-/ready`)).ok);
  const get = async (path) => (await fetch(base + path)).json();
  return { base, get, end: () => new Promise((ended) => { process.on("exit", ended); process.kill(); }) };
}

async function until(what, condition) {
  for (let tries = 0; tries < 600; tries++) {
    if (await condition()) return;
    await new Promise((resume) => setTimeout(resume, 50));
  }
  throw new Error(`did not happen: ${what}`);
}

const browser = await chromium.launch({
  executablePath,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});

/** A page that fails the test when the browser has anything to complain about. */
async function open(base, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1200, height: 900 }, ...options });
  const page = await context.newPage();
  const complaints = [];
  // Pages of plain text and JSON have no icon, which a browser asks for all the same.
  const counts = (message) => ["error", "warning"].includes(message.type()) && !message.location().url.endsWith("/favicon.ico");
  page.on("console", (message) => counts(message) && complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("dialog", (dialog) => { complaints.push(`a name ran: ${dialog.message()}`); dialog.dismiss(); });
  page.on("request", (request) => request.url().startsWith(base) || request.url().startsWith("data:") || complaints.push(`asked elsewhere: ${request.url()}`));
  await page.goto(base);
  return { page, complaints };
}

const plain = (text) => text.replaceAll("\u00a0", " ").replace(/\s+/g, " ").trim();
const percent = (value) => `${value.toFixed(1).replace(/\.0$/, "")} %`;
const gib = (bytes) => `${Number((bytes / 2 ** 30).toFixed(2))} GiB`;

async function shows_what_the_api_says({ base, get }) {
  const { page, complaints } = await open(base);
  const { targets } = await get("/api/v1/targets");
  assert.equal(await page.locator("[data-target]").count(), targets.length);
  for (const target of targets) {
    const name = `${target.vg}/${target.lv}`;
    const card = page.locator(`[data-target="${name}"]`);
    const shown = plain(await card.innerText());
    assert.equal(await card.locator("h3").textContent(), target.mount_point ?? name);
    assert.ok(shown.includes(`${percent(target.used_percent)} used`), `${name}: ${shown}`);
    assert.ok(shown.includes(`grows above ${percent(target.threshold_percent)}`), `${name}: ${shown}`);
    if (target.headroom_bytes > 2 ** 30) assert.ok(shown.includes(`Headroom ${gib(target.headroom_bytes)}`), `${name}: ${shown}`);
    if (target.now.code !== "cooldown") assert.ok(shown.includes(plain(target.now.sentence)), `${name}: ${shown}`);
    const width = Number(await card.locator(":scope > .bar rect.used").getAttribute("width"));
    assert.ok(Math.abs(width - target.used_percent * 10) <= 1, `${name}: the bar is ${width}`);
    const mark = Number(await card.locator(":scope > .bar rect.mark").getAttribute("x"));
    assert.ok(Math.abs(mark + 2 - target.threshold_percent * 10) <= 1, `${name}: the mark is at ${mark}`);
    const chip = { would_grow: "would grow", held: "held back", quiet: "below threshold" }[target.state];
    assert.equal(await card.locator(".title .chip").innerText(), chip, name);
    const rows = card.locator(".stack tbody tr");
    assert.equal(await rows.count(), target.stack.length, name);
    for (const [at, layer] of target.stack.entries()) {
      const row = plain(await rows.nth(at).textContent());
      assert.ok(row.includes(layer.name) && row.includes(gib(layer.size_bytes)), `${name}: ${layer.name} in ${row}`);
    }
  }
  const { volume_groups, file_systems } = await get("/api/v1/inventory");
  for (const group of volume_groups) {
    const shown = plain(await page.locator(`[data-group="${group.name}"]`).innerText());
    assert.ok(shown.includes(`${gib(group.free_bytes)} free of ${gib(group.size_bytes)}`), shown);
    assert.ok(shown.includes(`${gib(group.used_bytes)} used`), shown);
    if (group.reserve_bytes) assert.ok(shown.includes(`${gib(group.reserve_bytes)} reserved`), shown);
  }
  const others = file_systems.filter((each) => !each.is_target).map((each) => each.mount_point);
  assert.deepEqual(await page.locator("[data-mount] td:first-child").allTextContents(), others);
  assert.equal(await page.locator("script").count(), 1, "only its own script");
  assert.equal(await page.locator("img").count(), 0);
  assert.deepEqual(complaints, []);
  await page.screenshot({ path: join(pictures, "status.png"), fullPage: true });
  await page.context().close();
}

async function is_clicked_through({ base, get }) {
  const { page, complaints } = await open(base);
  const details = page.locator('[id="steps-storage_vg/data_lv"]');
  await details.locator("summary").click();
  const { targets } = await get("/api/v1/targets");
  const commands = targets.find((each) => each.lv === "data_lv").now.steps;
  const words = (text) => text.replace(/\d{8}T[\d.]+Z/, "TIME");
  assert.deepEqual((await details.locator("li").allTextContents()).map(words), commands.map(words));

  const before = await page.locator("#generated").getAttribute("datetime");
  await until("it refreshes itself", async () => (await page.locator("#generated").getAttribute("datetime")) !== before);
  assert.ok(await details.evaluate((element) => element.open), "what was opened stays open");

  // What a person does meanwhile is seen without loading the page again.
  execFileSync(daemon, ["extend", "/var/log", "--by=1GiB", `--config.file=${config}`, host]);
  await until("the operation is shown", async () => (await page.locator(".log li").first().innerText()).includes("grew from 4 GiB to 5 GiB"));
  const { recent } = await get("/api/v1/operations");
  const rows = await page.locator(".log li").allInnerTexts();
  assert.equal(rows.length, recent.length);
  recent.forEach((each, row) => assert.ok(plain(rows[row]).includes(plain(each.sentence)), rows[row]));

  for (const name of ["Targets", "Operations", "Inventory"]) {
    await page.getByRole("link", { name, exact: true }).click();
    await page.waitForURL(`**/api/v1/${name.toLowerCase()}`);
    assert.equal(JSON.parse(await page.locator("body").innerText()).host, "db1.example.com");
    await page.goBack();
  }
  await page.getByRole("link", { name: "Metrics" }).click();
  await page.waitForURL("**/metrics");
  assert.match(await page.locator("body").innerText(), /lvm_autoscaler_target_headroom_bytes/);
  assert.deepEqual(complaints, []);
  await page.context().close();
}

async function is_read_on_a_phone_and_in_the_dark({ base }) {
  const light = await open(base, { viewport: { width: 360, height: 740 } });
  const wide = await light.page.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(wide <= 360, `${wide} px wide`);
  const ground = (page) => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const bright = await ground(light.page);
  await light.page.screenshot({ path: join(pictures, "status-phone.png"), fullPage: true });
  const dark = await open(base, { colorScheme: "dark" });
  assert.notEqual(await ground(dark.page), bright);
  await dark.page.screenshot({ path: join(pictures, "status-dark.png"), fullPage: true });
  assert.deepEqual([...light.complaints, ...dark.complaints], []);
  await light.page.context().close();
  await dark.page.context().close();
}

async function is_useful_without_script({ base, get }) {
  const { page } = await open(base, { javaScriptEnabled: false });
  const { targets } = await get("/api/v1/targets");
  assert.equal(await page.locator("[data-target]").count(), targets.length);
  await page.locator("summary").first().click();
  assert.ok((await page.locator("details li").first().innerText()).includes("vgcfgbackup"));
  const again = await page.locator("noscript").evaluateAll((all) => all.map((each) => each.innerHTML || each.textContent));
  assert.ok(again.join("").includes("refresh"), "the browser loads it again by itself");
  await page.context().close();
}

async function runs_nothing_else({ base }) {
  const { page } = await open(base);
  // If an escape were ever forgotten the policy would still stop it.
  const stopped = await page.evaluate(() => new Promise((resolve) => {
    document.addEventListener("securitypolicyviolation", (event) => resolve(event.violatedDirective));
    const script = document.createElement("script");
    script.textContent = "window.ran = true";
    document.body.append(script);
    setTimeout(() => resolve("nothing"), 3000);
  }));
  assert.equal(stopped, "script-src-elem");
  assert.equal(await page.evaluate(() => window.ran), undefined);
  await page.context().close();
}

/** The layers below a target: a table to whoever hears the page, opened with the keyboard and without script. */
async function draws_the_layers({ base, get }) {
  for (const javaScriptEnabled of [true, false]) {
    const { page } = await open(base, { javaScriptEnabled, viewport: { width: 360, height: 740 } });
    const details = page.locator('[id="stack-storage_vg/data_lv"]');
    await details.locator("summary").focus();
    await page.keyboard.press("Enter");
    const table = page.getByRole("table", { name: "Layers of storage_vg/data_lv, the lowest first" });
    await table.waitFor({ state: "visible" });
    const { targets } = await get("/api/v1/targets");
    const { stack } = targets.find((each) => each.lv === "data_lv");
    assert.deepEqual(stack.map((each) => each.layer), ["disk", "pv", "group", "volume", "file_system"]);
    for (const { name } of stack.slice(1)) assert.ok(await table.getByRole("rowheader", { name }).last().isVisible(), name);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(wide <= 360, `${wide} px wide`);
    const closed = page.locator("details:not([open]) > summary");
    while (await closed.count()) await closed.first().click();
    await page.screenshot({ path: join(pictures, `status-layers-${javaScriptEnabled ? "script" : "plain"}.png`), fullPage: true });
    await page.context().close();
  }
}

/** The rows of the table below a heading. */
const rows_below = (page, heading) =>
  page.locator(`xpath=//h2[.="${heading}"]/following-sibling::*[1]//tbody/tr`).filter({ has: page.locator("td:nth-child(2)") });

async function report_shows_its_json(page, report) {
  const { summary } = report;
  assert.ok(plain(await page.locator("h1").innerText()).includes(report.host));
  const tiles = plain(await page.locator(".tiles").textContent());
  assert.ok(tiles.includes(`${summary.findings_now} now`) && tiles.includes(`${summary.grown} grown`), tiles);

  const findings = page.locator(".findings li");
  assert.equal(await findings.count(), report.findings.length);
  for (const [at, finding] of report.findings.entries()) {
    const shown = findings.nth(at);
    assert.equal(await shown.locator("bdi").first().textContent(), finding.subject);
    assert.equal(await shown.locator("b.tag").textContent(), finding.urgency);
    assert.deepEqual((await shown.locator("p").allTextContents()).map(plain), [finding.sentence, finding.advice].map(plain));
    const commands = await shown.locator("pre").allTextContents();
    assert.equal(commands.join("").trim(), finding.commands.join("\n"));
  }

  const table = async (heading, wanted, row) => {
    const shown = rows_below(page, heading);
    assert.equal(await shown.count(), wanted.length, heading);
    for (const [at, each] of wanted.entries()) {
      const cells = (await shown.nth(at).locator("td").allTextContents()).map(plain);
      for (const [cell, expected] of Object.entries(row(each))) assert.ok(cells[cell].includes(plain(expected)), `${heading}: ${expected} in ${cells[cell]}`);
    }
  };
  await table("File systems", report.filesystems, (fs) => ({ 0: `${fs.mount_point}${fs.lv}`, 1: gib(fs.size), 3: percent(fs.usage), 10: fs.health }));
  await table("Volume groups", report.volume_groups, (vg) => ({ 0: vg.name, 1: gib(vg.size), 3: gib(vg.free), 9: vg.health }));
  await table("Logical volumes", report.logical_volumes, (lv) => ({ 0: lv.name, 1: lv.kind, 2: gib(lv.size), 4: lv.mount_point ?? "–", 8: lv.health }));
  await table("Physical volumes", report.physical_volumes, (pv) => ({ 0: pv.name, 1: pv.vg, 2: gib(pv.size), 4: pv.health }));
  if (report.operations.length) await table("What was done", report.operations, (done) => ({ 1: done.lv, 2: done.outcome, 3: done.sentence }));
  if (report.refusals.length) await table("What was refused", report.refusals, (refused) => ({ 0: refused.lv, 1: refused.code, 2: `${refused.count}`, 4: refused.sentence }));
}

/** At this address: in the light, the dark, on a phone and on paper. */
async function can_be_read_everywhere(base, name) {
  const ground = (page) => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
  const light = await open(base);
  const bright = await ground(light.page);
  await light.page.screenshot({ path: join(pictures, `${name}.png`), fullPage: true });
  const phone = await open(base, { viewport: { width: 360, height: 740 } });
  const wide = await phone.page.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(wide <= 360, `${wide} px wide`);
  await phone.page.screenshot({ path: join(pictures, `${name}-phone.png`), fullPage: true });
  const dark = await open(base, { colorScheme: "dark" });
  assert.notEqual(await ground(dark.page), bright);
  await dark.page.screenshot({ path: join(pictures, `${name}-dark.png`), fullPage: true });
  // Paper stays white, whatever the screen is.
  await dark.page.emulateMedia({ media: "print", colorScheme: "dark" });
  assert.equal(await ground(dark.page), "rgb(255, 255, 255)");
  const paper = await dark.page.pdf({ path: join(pictures, `${name}.pdf`), preferCSSPageSize: true, printBackground: true });
  const pages = paper.toString("latin1").match(/\/Type\s*\/Page\b/g) ?? [];
  assert.ok(pages.length > 0 && pages.length < 20, `${pages.length} pages`);
  for (const each of [light, phone, dark]) {
    assert.deepEqual(each.complaints, []);
    await each.page.context().close();
  }
  return pages.length;
}

async function the_report_shows_its_json_and_runs_nothing({ base, get }) {
  const { page, complaints } = await open(base);
  await page.getByRole("link", { name: "Report", exact: true }).click();
  await page.waitForURL("**/report");
  const report = await get("/report?format=json");
  const hostile = report.filesystems.filter((fs) => fs.mount_point.includes("<"));
  assert.ok(report.findings.length > 0 && hostile.length === 2 && report.operations.length > 0);
  await report_shows_its_json(page, report);
  assert.equal(await page.locator("script, img, iframe, link[rel=stylesheet]").count(), 0, "markup in a name stays text");
  assert.deepEqual(complaints, []);
  const stopped = await page.evaluate(() => new Promise((resolve) => {
    document.addEventListener("securitypolicyviolation", (event) => resolve(event.violatedDirective));
    const image = document.createElement("img");
    image.src = "/-/healthy";
    document.body.append(image);
    setTimeout(() => resolve("nothing"), 3000);
  }));
  assert.equal(stopped, "img-src");
  await page.context().close();
  await can_be_read_everywhere(`${base}/report`, "report");
}

async function the_report_is_one_file({ get }) {
  const file = join(folder, "report.html");
  execFileSync(daemon, ["report", "--format=html", `--output=${file}`, `--config.file=${config}`, host]);
  const address = pathToFileURL(file).href;
  const { page, complaints } = await open(address);
  await report_shows_its_json(page, await get("/report?format=json"));
  assert.equal(await page.locator("script, img").count(), 0);
  assert.deepEqual(complaints, []);
  await page.context().close();
  await can_be_read_everywhere(address, "report-file");
  // A whole week, as it is in the documentation.
  const pages = await can_be_read_everywhere(pathToFileURL(resolve("docs/example-report.html")).href, "example-report");
  console.log(`the report of a week is ${pages} pages on paper`);
}

async function says_that_the_daemon_is_gone(served) {
  const { page } = await open(served.base);
  assert.ok(!(await page.locator("p.lost").isVisible()));
  await served.end();
  await until("it says so", () => page.locator("p.lost").isVisible());
  assert.ok((await page.locator("[data-target]").count()) > 0, "what was shown stays");
  await page.context().close();
}

async function shows_an_exporter() {
  const served = await serve(join(folder, "empty.yaml"));
  const { page, complaints } = await open(served.base);
  assert.ok((await page.locator("header").innerText()).includes("exporter only: nothing may grow"));
  assert.equal(await page.locator("[data-mount]").count(), 5);
  assert.equal(await page.locator("[data-group]").count(), 2);
  assert.deepEqual(complaints, []);
  await page.context().close();
  await served.end();
}

let passed = 0;
try {
  const served = await serve(config);
  for (const test of [shows_what_the_api_says, is_clicked_through, is_read_on_a_phone_and_in_the_dark, is_useful_without_script, draws_the_layers, runs_nothing_else, the_report_shows_its_json_and_runs_nothing, the_report_is_one_file, says_that_the_daemon_is_gone, shows_an_exporter]) {
    await test(served);
    console.log(`test ${test.name} ... ok`);
    passed += 1;
  }
} finally {
  await browser.close();
}
console.log(`test result: ok. ${passed} passed; 0 failed; in ${browser.version()}`);
process.exit(0);
