//! What the invented businesses are made of. Divisions are real (GB/T 2260); bodies, people and addresses are not.

#[derive(Debug, Clone, Copy)]
pub struct Division {
    pub code: &'static str,
    /// Of the department that is the authority for it.
    pub source: &'static str,
    pub city_name: &'static str,
    pub county: &'static str,
}

const fn jiangcheng(code: &'static str, county: &'static str) -> Division {
    Division { code, source: "urn:jiangcheng:market-regulation", city_name: "江城示范市", county }
}

const fn hubin(code: &'static str, county: &'static str) -> Division {
    Division { code, source: "urn:hubin:market-regulation", city_name: "湖滨示范市", county }
}

pub const DIVISIONS: &[Division] = &[
    jiangcheng("420102", "江岸区"),
    jiangcheng("420103", "江汉区"),
    jiangcheng("420104", "硚口区"),
    jiangcheng("420105", "汉阳区"),
    jiangcheng("420106", "武昌区"),
    jiangcheng("420107", "青山区"),
    jiangcheng("420111", "洪山区"),
    jiangcheng("420112", "东西湖区"),
    jiangcheng("420113", "汉南区"),
    jiangcheng("420114", "蔡甸区"),
    jiangcheng("420115", "江夏区"),
    jiangcheng("420116", "黄陂区"),
    jiangcheng("420117", "新洲区"),
    hubin("330102", "上城区"),
    hubin("330105", "拱墅区"),
    hubin("330106", "西湖区"),
    hubin("330108", "滨江区"),
    hubin("330109", "萧山区"),
    hubin("330110", "余杭区"),
    hubin("330111", "富阳区"),
    hubin("330112", "临安区"),
    hubin("330113", "临平区"),
    hubin("330114", "钱塘区"),
    hubin("330122", "桐庐县"),
    hubin("330127", "淳安县"),
    hubin("330182", "建德市"),
];

pub const INDUSTRIES: &[&str] = &[
    "塑料",
    "纺织",
    "金属制品",
    "商贸",
    "百货",
    "物流",
    "餐饮管理",
    "软件",
    "信息技术",
    "企业咨询",
    "工程技术",
    "文化传播",
];

pub const TRADES: &[&str] = &[
    "恒", "瑞", "盛", "通", "达", "信", "安", "泰", "华", "源", "鑫", "博", "汇", "嘉", "远", "启", "明", "同", "和",
    "长", "清", "川",
];

pub const SURNAMES: &[&str] = &["王", "李", "张", "刘", "陈", "杨", "赵", "黄", "周", "吴", "徐", "孙", "欧阳", "诸葛"];

pub const GIVEN: &[&str] =
    &["伟", "芳", "秀英", "敏", "静", "建国", "志强", "晓明", "雨桐", "子轩", "一诺", "春梅", "海涛", "丽"];

pub const STREETS: &[&str] =
    &["人民路", "解放大道", "中山路", "建设路", "和平街", "新华路", "滨江大道", "柳泉路", "胜利路", "迎宾路"];

pub const SCOPES: &[&str] = &[
    "日用百货、五金交电的批发兼零售",
    "软件开发；信息系统集成服务",
    "道路货物运输（不含危险货物）",
    "餐饮服务；食品销售",
    "塑料制品制造、加工、销售",
    "企业管理咨询；会议及展览服务",
    "建筑工程设计；工程监理",
    "服装、纺织品的生产与销售",
];
