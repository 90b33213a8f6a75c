//! The plan as a drawing: Mermaid or Graphviz text. A box is a stage, a frame is a pool.

use std::fmt::Write;

use super::{Plan, Role, Stage};

/// Mermaid flowchart text.
pub fn mermaid(plan: &Plan) -> String {
    let mut text = String::from("flowchart LR\n");
    for pool in &plan.pools {
        let head = &plan.stages[pool.head];
        let _ = writeln!(text, "  subgraph pool_{} [\"{} × {}\"]", head.name, head.name, pool.workers);
        for id in [pool.head].iter().chain(&pool.fused) {
            let stage = &plan.stages[*id];
            let (open, close) = match stage.role {
                Role::Source(_) => ("([", "])"),
                Role::Transform(_) => ("[", "]"),
                Role::Sink(_) => ("[(", ")]"),
            };
            let _ = writeln!(text, "    s_{}{open}\"{}<br>{}\"{close}", stage.name, stage.name, stage.kind);
        }
        text.push_str("  end\n");
    }
    edges(plan, |from, to| {
        let _ = writeln!(text, "  s_{} --> s_{}", from.name, to.name);
    });
    text
}

/// Graphviz text.
pub fn dot(plan: &Plan) -> String {
    let mut text = format!("digraph \"{}\" {{\n  rankdir=LR;\n", plan.name);
    for pool in &plan.pools {
        let head = &plan.stages[pool.head];
        let _ =
            writeln!(text, "  subgraph \"cluster_{}\" {{\n    label=\"{} × {}\";", head.name, head.name, pool.workers);
        for id in [pool.head].iter().chain(&pool.fused) {
            let stage = &plan.stages[*id];
            let shape = match stage.role {
                Role::Source(_) => "ellipse",
                Role::Transform(_) => "box",
                Role::Sink(_) => "cylinder",
            };
            let _ =
                writeln!(text, "    \"{}\" [shape={shape}, label=\"{}\\n{}\"];", stage.name, stage.name, stage.kind);
        }
        text.push_str("  }\n");
    }
    edges(plan, |from, to| {
        let _ = writeln!(text, "  \"{}\" -> \"{}\";", from.name, to.name);
    });
    text.push_str("}\n");
    text
}

fn edges(plan: &Plan, mut draw: impl FnMut(&Stage, &Stage)) {
    for stage in &plan.stages {
        stage.reads().for_each(|input| draw(&plan.stages[input], stage));
    }
}
