//! App installs as `jobs/memc.toml` reads them, and the bytes it must make of them.

use crate::servers::DEVICES;

/// One record.
#[derive(Clone, Debug)]
pub struct App {
    pub device: &'static str,
    pub id: String,
    pub lat: f64,
    pub lon: f64,
    pub apps: Vec<u32>,
}

impl App {
    /// The line without its end.
    pub fn line(&self) -> String {
        let apps: Vec<String> = self.apps.iter().map(u32::to_string).collect();
        format!("{}\t{}\t{}\t{}\t{}", self.device, self.id, self.lat, self.lon, apps.join(","))
    }

    pub fn key(&self) -> String {
        format!("{}:{}", self.device, self.id)
    }

    /// The message `UserApps`, by hand: `apps` unpacked, then the two doubles.
    pub fn value(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for &app in &self.apps {
            bytes.push(0x08);
            let mut rest = app;
            while rest > 0x7f {
                bytes.push(rest as u8 | 0x80);
                rest >>= 7;
            }
            bytes.push(rest as u8);
        }
        for (tag, number) in [(0x11, self.lat), (0x19, self.lon)] {
            bytes.push(tag);
            bytes.extend(number.to_le_bytes());
        }
        bytes
    }
}

/// `count` records with ids that begin with `prefix`, device types in turn; always the same ones.
pub fn apps(prefix: &str, count: usize) -> Vec<App> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) % below
    };
    let app = |i: usize| App {
        device: DEVICES[i % 4].0,
        id: format!("{prefix}{i:06}{:016x}", random(u64::MAX)),
        lat: random(36_000_000) as f64 / 100_000.0 - 180.0,
        lon: random(18_000_000_000) as f64 / 1e8 - 90.0,
        apps: (0..random(30) + 1).map(|_| random(10_000) as u32).collect(),
    };
    (0..count).map(app).collect()
}

/// Records as text, each line ended by `end`.
pub fn text(apps: &[App], end: &str) -> String {
    apps.iter().map(|app| app.line() + end).collect()
}

/// How many records there are per device type.
pub fn per_device(apps: &[App]) -> [usize; 4] {
    DEVICES.map(|(device, _)| apps.iter().filter(|app| app.device == device).count())
}
