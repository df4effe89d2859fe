// What generate_bench does, by llama.cpp (npm node-llama-cpp).
//
// usage: node llama_cpp.mjs MODEL.gguf PROMPTS.json THREADS TOKENS [ADAPTER.gguf]
// PROMPTS.json as generate_bench --dump writes it; the first warms up. Prints
// one JSON object. EDGETUNE_NODE_MODULES names the folder of node-llama-cpp.
import {readFileSync} from "node:fs";
import {join} from "node:path";
import {pathToFileURL} from "node:url";

const entry = join(process.env.EDGETUNE_NODE_MODULES, "node-llama-cpp", "dist", "index.js");
const {getLlama} = await import(pathToFileURL(entry));

const [modelPath, promptsPath, threadCount, tokenCount, adapterPath] = process.argv.slice(2);
const prompts = JSON.parse(readFileSync(promptsPath, "utf8"));
const threads = Number(threadCount), tokens = Number(tokenCount);

const llama = await getLlama({build: "never", skipDownload: true, gpu: false, logLevel: "error", maxThreads: threads});
const model = await llama.loadModel({modelPath});
const context = await model.createContext({
    contextSize: 1024, batchSize: 512, threads,
    ...(adapterPath ? {lora: {adapters: [{filePath: adapterPath, scale: 1}]}} : {}),
});
const sequence = context.getSequence();
const median = (values) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)];

const firsts = [], promptRates = [], rates = [];
for (const [run, prompt] of prompts.entries()) {
    await sequence.clearHistory();
    const times = [], start = performance.now();
    for await (const _ of sequence.evaluate(prompt, {temperature: 0, yieldEogToken: true})) {
        times.push(performance.now());
        if (times.length === tokens) break;
    }
    if (run === 0) continue;
    firsts.push(times[0] - start);
    promptRates.push(prompt.length * 1000 / (times[0] - start));
    rates.push((times.length - 1) * 1000 / (times.at(-1) - times[0]));
}
const status = readFileSync("/proc/self/status", "ascii");
console.log(JSON.stringify({
    prompt_tokens_per_s: median(promptRates), first_token_ms: median(firsts), tokens_per_s: median(rates),
    peak_mb: Number(/VmHWM:\s+(\d+)/.exec(status)[1]) * 1024 / 1e6,
}));
await llama.dispose();
